FROM scratch
COPY --chmod=999 config.yaml /a
