"""Everything that is not measured: what drives an enclave, observes it and judges the results."""
