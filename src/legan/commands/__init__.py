"""The commands of `legan`, thin: each reads its options, calls one function, and prints the result."""
