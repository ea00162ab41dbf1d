"""The chapter on the article's takeaways has no equations of its own, and hardly a formula in its sentences."""

from tests.ledger.checking import Check
from tests.ledger.inline import Inline, chains

CHECKS: dict[str, Check] = {}
INLINE = Inline(chains)
