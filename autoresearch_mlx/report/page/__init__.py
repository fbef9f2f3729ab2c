"""Write the report: gather a session's values, and make an HTML file, a picture and a text for a post.

    page = page_of(folder, root)        the ledger, its diffs and logs, as one frozen tree
    render_html(page)                   report.html: one file, opens offline
    render_text(page)                   report.md
    render_progress(page)               progress.png
    write_report(page, out)             write all three, or none

These functions only read the session, so they may be called while the loop runs.
"""
