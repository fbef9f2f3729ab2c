"""The morning's page: a session as values, and from them one HTML file, one picture and one text for a post.

    page = page_of(folder, root)        the ledger, its diffs and logs, as one frozen tree
    render_html(page)                   report.html: one file, opens offline
    render_text(page)                   report.md
    render_progress(page)               progress.png
    write_report(page, out)             all three, or none

Reads only; any time, also while the loop runs.
"""
