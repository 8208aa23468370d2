FROM UPPER/Case:tag
COPY config.yaml /
