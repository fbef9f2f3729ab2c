"""Turn text into rows of tokens.

``prepare`` runs once and imports large libraries.  A training process imports only ``rows``.

    documents   files -> texts                   tokenizer   texts -> byte-level BPE, saved as JSON
    download    hub file -> verified local file  packing     token lists -> full rows, by best fit
    sources     request -> streams of texts      build       streams -> row files and their manifest
    prepare     request -> corpus, found or built            rows   an opened corpus, memory-mapped
"""
