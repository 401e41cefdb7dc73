"""The page Host: the machine: space, memory, isolation, findings of the doctor."""
