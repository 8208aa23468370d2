FROM scratch AS one
COPY config.yaml /
ENTRYPOINT start here
CMD ["fine"]
FROM scratch
SHELL ["/bin/own", "-c"]
COPY config.yaml /
CMD with own shell
