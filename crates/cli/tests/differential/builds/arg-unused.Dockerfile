FROM scratch
COPY config.yaml /
# case: build-arg=NOBODY=needs-it
