"""What is measured: this folder, whole, becomes the enclave image; nothing else does."""
