"""The lab file: YAML text with places, merged, validated, resolved. Begin at `load.load`."""
