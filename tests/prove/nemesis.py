"""Placeholder."""
from dataclasses import dataclass, field
@dataclass
class Struck:
    fault: str
@dataclass
class Nemesis:
    stage: object
    progress: object
    writer: object
    random: object
    faults: object
    struck: list = field(default_factory=list)
    share_done: float = 1.0
    async def run(self): ...
