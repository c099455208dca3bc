"""Workers on a simulated broker and a real database, played task by task as a seed has it."""
