"""What the kernel keeps a CLI to: of a scope, what Landlock and mounts hold."""
