"""What makes the record one that an auditor can trust, and how to check it without trusting us.

Rooms
=====

`guard` makes the triggers that refuse to change the record, `doorway` is the one gap in them.
`layouts` says which bytes of a row are sealed, `sealing` seals, `tree` hashes, `checkpoints` and
`statement` are about signed statements, `publishing` lets them leave the database. `verifying`
(with `chain` and `findings`) recomputes everything. `openings` gives an evidence pack what proves
its rows; `verify_pack` is copied into the pack and checks it with Python alone.

Seals
=====

Each row of five tables is sealed once: history_event, provider_request, provider_response,
call_subject, body_purge. Seals are numbered 1, 2, 3, ... without a gap, in the order of sealing.

    canonical   bytes of the row: "annul row TABLE VERSION\\n", then for each column of the layout
                "NAME KIND LENGTH PAYLOAD\\n", LENGTH being the payload's, in bytes
                KIND  n nothing (the payload is empty)      i integer, decimal
                      s text, UTF-8                         u UUID, 32 lower-case hex digits
                      t time, microseconds since 1970 UTC   b boolean, 0 or 1
                      x octets, as they are
    k           HMAC-SHA256(seal key, "annul seal NUMBER LAYOUT KEY"): LAYOUT is the code in
                `layouts`, KEY the row's primary key as it stands in a "payload"
    digest      HMAC-SHA256(k, canonical); stored with number, layout and key

Whoever is shown k and the columns can recompute the digest, and learns nothing about other rows.
A body is never part of the canonical bytes; its SHA-256, the column body_sha256, is.

Tree and checkpoints
====================

The digests in the order of their numbers are the leaves of a Merkle tree as in RFC 6962:
leaf SHA-256(0x00 digest), node SHA-256(0x01 left right), the left part being the largest power of
two. A checkpoint is the root over the first COUNT seals. Signed (Ed25519) are these lines:

    annul checkpoint 1
    number N
    count COUNT
    root HEX
    previous HEX          SHA-256(lines of the one before, then its 64 bytes of signature); zeros
    made_at 2026-01-31T23:59:59.000000Z
    key HEX               the first 16 digits of SHA-256(public key)

In files and mails a checkpoint is one line of JSON with these fields and "signature".

Purges
======

A `BodyPurge` row says: bodies of requests made (created_at), and of answers received
(received_at), in [since, until) may be empty. Write it in the transaction that empties them:

    with open_for_emptying():
        BodyPurge.objects.create(since=..., until=..., requests=..., answers=..., ...)
        empty_bodies(ProviderRequest, keys)
        empty_bodies(ProviderResponse, keys)

An empty body that its SHA-256 contradicts is well only within such a span. A body that is not
empty must fit its SHA-256 always. The purge itself is sealed like any row.

Evidence packs
==============

A folder or ZIP file. All text is UTF-8, all binary values hexadecimal. It holds, besides whatever
is meant for reading:

    rows.jsonl        one sealed row a line, by ascending number: {"number", "table", "version",
                      "k", "columns": [[NAME, KIND, VALUE], ...], "body": file in the pack, or
                      null when it was purged or left out}; "body" only for requests and answers.
                      VALUE is null (n), an integer (i, t), text (s, u), true or false (b), hex (x)
    proof.json        a list of hashes. Walk the tree from its root over [0, COUNT): a subtree
                      without a row of this pack takes the next hash, any other is split in two
    checkpoint.json   the checkpoint over all these rows, and "public_key"
    manifest.json     {"files": {name: SHA-256}} of every other file
    verify_pack.py    a copy of `verify_pack`

To build one: make a round (`sealing.one_round`) so that all is sealed; `openings.numbers(table,
keys)` gives the numbers, sort them and leave out those above the checkpoint's count;
`openings.openings(numbers)` gives each line and its body; `openings.newest_checkpoint()` the
checkpoint and `openings.proof(numbers, checkpoints.newest())` the proof. None of them keeps more
than some hundred rows in memory.
"""
