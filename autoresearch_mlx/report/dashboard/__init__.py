"""Serve a live page of the lab's sessions to a browser on this machine, with the controls of a run.

The dashboard only reads the files of a session, and the loop does not know about the dashboard.

    views      a session as plain JSON values
    gauges     what the running measurement has shown so far: its loss curve, its memory, the temperature
    watch      the sessions of a lab, each read again only when its files changed
    steering   what the page's buttons do, through the functions that the commands call
    guard      which requests are answered: address, token, origin
    server     the routes, the event stream, the socket
    page/      the page, its style, its scripts; scripts shared with the report are in ``report/assets``
"""
