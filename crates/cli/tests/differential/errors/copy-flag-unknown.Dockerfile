FROM scratch
COPY --chwon=1 config.yaml /
