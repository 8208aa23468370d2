# check=error=true
FROM scratch
COPY config.yaml /
CMD run it
