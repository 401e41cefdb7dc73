"""The page Questions: questions to the operator and between agents."""
