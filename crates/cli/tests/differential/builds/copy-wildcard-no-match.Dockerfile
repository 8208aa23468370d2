FROM scratch
COPY *.missing /
