FROM scratch AS one
COPY secrets /
FROM scratch
COPY config.yaml /x/
ADD config.yaml notes/dropped.log /y/
