"""The session in a browser on this machine, live: what runs, what stands, and the few controls of a night.

It knows the loop only by the files of the session, and the loop does not know it at all.

    views      a session as plain JSON values
    gauges     what the running measurement has shown so far: its loss curve, its memory, the temperature
    watch      the sessions of a lab, each read again only when its files changed
    steering   what a person may do, by the same functions as the command line
    guard      who may ask: address, token, origin
    server     the routes, the event stream, the socket
    page/      what the browser gets: one page, its style, its scripts; nothing from elsewhere
"""
