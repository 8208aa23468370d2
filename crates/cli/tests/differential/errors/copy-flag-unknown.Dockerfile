FROM scratch
COPY --chownn=1 config.yaml /
