"""Evidence packs: one ZIP file with all that is on record about something, and what proves it.

    scope       what a pack is about: an invoice, a batch, a span of time, a sample drawn by a seed
    exporting   who may have one; puts the export on record, seals, and lets the pack be built
    building    the files of a pack, one after the other, as a stream
    evidence    the sealed rows and bodies, and what is missing of them
    stories     what happened to each invoice, some invoices at a time
    report      report.html, from templates/packs/
    summary     summary.csv
    zipping     a ZIP file that is written while it is read

How a pack is verified stands in `invoices/audit/__init__.py`. Nothing here keeps more in
memory than some rows at a time, and some bytes for the number of each row.
"""
