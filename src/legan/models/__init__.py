"""Networks as functions of tensors, their presets, and the editors that weights files hold."""
