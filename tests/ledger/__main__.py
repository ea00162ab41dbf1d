"""Write the ledger page again, and the table of the page for teachers."""

from tests.ledger import page, plan

for each in (page, plan):
    each.PAGE.write_text(each.page(), "utf8")
