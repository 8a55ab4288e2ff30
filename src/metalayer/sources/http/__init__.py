"""HTTP APIs as sources: pages of JSON, NDJSON or CSV, asked for one after the other and written to disk as they come.

`options` is what a declaration says, `client` asks (retries, limits, credentials), `paging` knows which page is next,
`records` finds the records in a page, `crawl` goes through pages and from parents to children, `source` makes batches.
No row becomes an object that is kept: a record is its own text, on disk, until the engine reads it. httpx is imported
when something is asked, not before.
"""
