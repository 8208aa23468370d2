FROM scratch AS base
COPY config.yaml /
ENTRYPOINT ["x"]
CMD ["y"]
FROM base
ENTRYPOINT []
