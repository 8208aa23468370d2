FROM scratch
COPY config.yaml /
USER name
USER 5:group
ARG WHO=variable
USER ${WHO}:7
