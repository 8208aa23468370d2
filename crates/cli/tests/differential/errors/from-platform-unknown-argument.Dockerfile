FROM --platform=$NOWHERE scratch
COPY config.yaml /
