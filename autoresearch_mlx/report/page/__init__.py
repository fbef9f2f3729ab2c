"""The report: a session as values, and from them one HTML file, one picture and one text for a post.

    page = page_of(folder, root)        the ledger, its diffs and logs, as one frozen tree
    render_html(page)                   report.html: one file, opens offline
    render_text(page)                   report.md
    render_progress(page)               progress.png
    write_report(page, out)             write all three, or none

It only reads the session, and may do so while the loop runs.
"""
