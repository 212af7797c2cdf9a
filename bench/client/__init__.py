"""The client: verifies before it trusts."""
