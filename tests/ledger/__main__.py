"""Write the ledger page again."""

from tests.ledger.page import PAGE, page

PAGE.write_text(page(), "utf8")
