FROM scratch AS base
COPY config.yaml /
CMD ["a"]
FROM base AS child
ENTRYPOINT ["b"]
FROM child
CMD []
