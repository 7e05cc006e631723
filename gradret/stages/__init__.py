"""The flow, one file a stage: ``(config, *artifacts) -> Artifact``.

ingest -> queries -> dedupe -> generate -> mine -> label -> select
-> base -> train -> encode -> index -> search -> evaluate -> report
"""
