FROM scratch AS one two
COPY config.yaml /
