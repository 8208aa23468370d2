FROM scratch
COPY config.yaml /
# case: build-arg=SOURCE_DATE_EPOCH=yesterday
# case: differs=error, BuildKit adds the error of the Go library
