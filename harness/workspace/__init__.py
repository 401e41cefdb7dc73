"""The repos that an agent begins with: cloned once, then left alone, and shown to the operator."""
