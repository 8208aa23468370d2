FROM scratch
COPY links/broken /broken
