FROM scratch
HEALTHCHECK --interval=1fortnight CMD true
