"""Verdicts on key policies."""

from __future__ import annotations

from dataclasses import replace

from bench.verify import key_policy
from bench.verify.judgement import Trust
from bench.verify.judgement.recognition import Kind
from bench.verify.key_policy import Severity
from bench.verify.report import Failure, Outcome, Verdict, walked
from bench.verify.steps import KEY_POLICY


def judge(file: str, data: bytes, trust: Trust) -> Verdict:
    """A key policy; findings that are no errors are notes."""
    findings = key_policy.lint(data.decode(errors="replace"), sealers=trust.sealers)
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    notes = tuple(str(finding) for finding in findings if finding not in errors[:1])
    if not errors:
        return Verdict(
            file, Kind.POLICY.value, Outcome.VERIFIED, walked(KEY_POLICY, None), None, notes
        )
    first = errors[0]
    found = f"{first.found} (statement {first.statement})"
    failure = Failure(first.rule, found, key_policy.RULES[first.rule], first.hint)
    unreadable = first.rule == "unreadable"
    outcome = Outcome.UNREADABLE if unreadable else Outcome.NOT_ACCEPTABLE
    steps = walked(KEY_POLICY, first.rule)
    if not unreadable:  # a linter does not stop
        broken = {finding.rule for finding in errors}
        steps = tuple(
            replace(line, result="failed" if rule in broken else "ok")
            for line, rule in zip(steps, key_policy.RULES, strict=True)
        )
    return Verdict(file, Kind.POLICY.value, outcome, steps, failure, notes)
