FROM scratch
COPY config.yaml /
CMD ["a"]
CMD ["b"]
ENTRYPOINT ["a"]
ENTRYPOINT ["b"]
HEALTHCHECK CMD ["a"]
HEALTHCHECK CMD ["b"]
