"""Judgement: records in, tables, intervals, verdicts and a page out.

Nothing here measures, reaches a network or needs a cloud account: whoever holds the records can
make every number again. `summary` writes the CSV files in which one row is one printed fact;
`render` turns them, and nothing else, into the report.
"""
