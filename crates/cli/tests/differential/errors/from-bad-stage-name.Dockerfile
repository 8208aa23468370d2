FROM scratch AS -one
COPY config.yaml /
