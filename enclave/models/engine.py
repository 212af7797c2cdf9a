"""A loaded model that turns texts into an Output, or a prompt into the parts of a Completion.

An Output holds a row for each text: its embedding or, where the model generates, how likely it is.

All sessions share one thread that computes (`worker`). It takes requests in the order they came,
each with those that wait behind it and are about as long, as far as `batch` allows. Generations go
one at a time, so that the memory for keys and values is needed once.
"""

from __future__ import annotations

import ctypes
import os
import platform
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from enclave.memory import Buffer, returning
from enclave.models import Architecture, Encoder, Generator, Model, bert, distilbert, llama
from enclave.models.tokenizer import Tokenizer
from enclave.models.worker import Result, Worker
from enclave.wire.errors import RemoteProtocolError, VerificationError
from enclave.wire.messages import Generate, Output, Part

ARCHITECTURES: dict[str, Architecture] = {"bert": bert, "distilbert": distilbert, "llama": llama}

Mark = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """The texts of one request: ids and mask (B, L), and where their rows (B, O) go."""

    ids: Tensor
    mask: Tensor
    mark: Mark
    result: Result[Tensor] = field(default_factory=Result)

    @property
    def size(self) -> int:
        """The power of two its length lies under: among equals, padding costs less than half."""
        return self.ids.shape[1].bit_length()


class Engine:
    """A model, its tokenizer, and the thread it runs on; any number of threads may ask."""

    def __init__(
        self,
        model: Model,
        tokenizer: Tokenizer,
        worker: Worker,
        *,
        weights_bytes: int,
        batch: int = 1,
        device: str = "cpu",
    ) -> None:
        self._model = model
        self._encoder = model if isinstance(model, Encoder) else None
        self._generator = model if isinstance(model, Generator) else None
        self._tokenizer = tokenizer
        self._worker = worker
        self._weights_bytes = weights_bytes
        self._batch = batch
        self._device = device
        self._threads = worker.call(torch.get_num_threads)
        self._waiting: deque[Job] = deque()

    def run(self, texts: Sequence[str], mark: Mark = lambda _: None) -> Output:
        """A row for each text: its embedding, or the sum of ln p of its tokens and their number.

        `mark` hears when tokens were ready, when their turn came and when the pass was done.
        """
        if self._encoder is not None:
            rows = self._embeddings(self._encoder, texts, mark)
        else:
            assert self._generator is not None
            rows = self._scores(self._generator, texts, mark)
        mark("inferred")
        return Output(tuple(rows.shape), ctypes.string_at(rows.data_ptr(), rows.nbytes))

    def generate(self, request: Generate, mark: Mark = lambda _: None) -> Iterator[Part]:
        """Parts as they are sampled; RemoteProtocolError where the model embeds instead.

        The model does not wait for whoever takes the parts; closing the iterator stops it.
        """
        if self._generator is None:
            raise RemoteProtocolError("this model embeds text and generates none")
        ids = self._tokenizer.encode_prompt(request.prompt)
        decoder = self._tokenizer.decoder()
        mark("tokenized")
        begin = partial(
            self._generator.generate,
            ids,
            max_new_tokens=request.max_new_tokens,
            temperature=request.temperature_milli / 1000,
            seed=request.seed,
        )
        result: Result[int | None] = Result()
        left = threading.Event()
        self._worker.submit(partial(_sample, begin, result, left, mark))
        try:
            while (token := result.get()) is not None:
                mark("inferred")
                yield Part(token, decoder.step(token))
            mark("inferred")
        finally:
            left.set()

    def warm_up(self) -> None:
        """The least that the model does, so that nobody's first request pays for first times."""
        if self._encoder is not None:
            self.run(("the model is ready",))
        else:
            list(self.generate(Generate("the model is", 1, 0, 0)))

    def parity(self) -> dict[str, str | int | bool]:
        """What has to be alike wherever two servers are compared."""
        return {
            "batch": self._batch,
            "cpus": ",".join(map(str, sorted(os.sched_getaffinity(0)))),
            "device": self._device,
            "packed_linears": self._model.packed,
            "python": platform.python_version(),
            "threads": self._threads,
            "torch": str(torch.__version__),
            "weights_bytes": self._weights_bytes,
        }

    def _embeddings(self, encoder: Encoder, texts: Sequence[str], mark: Mark) -> Tensor:
        """(B, O) float32, contiguous."""
        ids, mask = self._tokenizer.encode(list(texts))  # (B, L) each
        mark("tokenized")
        job = Job(ids, mask, mark)
        self._waiting.append(job)
        self._worker.submit(partial(self._forward, encoder))
        return job.result.get()

    def _scores(self, generator: Generator, texts: Sequence[str], mark: Mark) -> Tensor:
        """(B, 2) float32; one text after the other, all in one turn."""
        rows = [self._tokenizer.encode_prompt(text) for text in texts]
        mark("tokenized")

        def score() -> Tensor:
            mark("waited")
            return torch.tensor([generator.score(ids) for ids in rows])

        return self._worker.call(score)

    def _forward(self, encoder: Encoder) -> None:
        """On the worker: whose turn it is, if an earlier turn did not take him along."""
        if jobs := self._turn():
            for job in jobs:
                job.mark("waited")
            _embed(encoder, jobs)

    def _turn(self) -> list[Job]:
        """Who is first, and those behind who fit into his batch; nobody else takes them off."""
        if not self._waiting:
            return []
        jobs = [first := self._waiting.popleft()]
        room = self._batch - len(first.ids)
        for job in self._waiting.copy() if room > 0 else ():
            if len(job.ids) <= room and job.size == first.size:
                self._waiting.remove(job)
                jobs.append(job)
                room -= len(job.ids)
        return jobs


def _embed(encoder: Encoder, jobs: Sequence[Job]) -> None:
    """One pass for all; where it fails, one for each, so that nobody fails with another."""
    try:
        rows = encoder.embed(*_joined(jobs)).cpu()  # (sum of B, O)
    except Exception as error:
        if len(jobs) == 1:
            jobs[0].result.fail(error)
            return
        for job in jobs:
            _embed(encoder, [job])
        return
    for job, part in zip(jobs, torch.split(rows, [len(job.ids) for job in jobs]), strict=True):
        job.result.put(part)


def _joined(jobs: Sequence[Job]) -> tuple[Tensor, Tensor]:
    """Ids and masks of all texts, (sum of B, longest L) each."""
    if len(jobs) == 1:
        return jobs[0].ids, jobs[0].mask
    longest = max(job.ids.shape[1] for job in jobs)
    pads = [(0, longest - job.ids.shape[1]) for job in jobs]
    padded = [
        (functional.pad(job.ids, pad), functional.pad(job.mask, pad))
        for job, pad in zip(jobs, pads, strict=True)
    ]
    ids, masks = zip(*padded, strict=True)
    return torch.cat(ids), torch.cat(masks)


def _sample(
    begin: Callable[[], Iterator[int]],
    result: Result[int | None],
    left: threading.Event,
    mark: Mark,
) -> None:
    """On the worker: every token, then None; or what was raised."""
    mark("waited")
    try:
        for token in begin():
            result.put(token)
            if left.is_set():
                return
        result.put(None)
    except Exception as error:
        result.fail(error)


def load(
    architecture: str,
    config: Mapping[str, object],
    weights: Buffer,
    tokenizer: bytes,
    *,
    threads: int,
    batch: int = 1,
    device: str = "cpu",
) -> Engine:
    """`weights` holds a safetensors file; the engine keeps it, and gives back what it repacks.

    VerificationError for an architecture that there is none of, or a device that is not there.
    """
    module = ARCHITECTURES.get(architecture)
    if module is None:
        raise VerificationError("architecture", found=architecture, expected=list(ARCHITECTURES))
    if device != "cpu" and not torch.cuda.is_available():
        hint = "set device: cpu, or serve where torch finds one"
        raise VerificationError("device", found="no CUDA device", expected=device, hint=hint)
    worker = Worker(threads, device)
    with returning():
        model = worker.call(lambda: module.load(weights.view, config, release=weights.release))
        texts = Tokenizer(tokenizer, max_tokens=model.max_tokens)
    return Engine(model, texts, worker, weights_bytes=len(weights.view), batch=batch, device=device)
