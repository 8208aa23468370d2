FROM scratch
COPY --chown=builder config.yaml /a
