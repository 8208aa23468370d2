FROM scratch AS one
COPY config.yaml /
CMD echo $HOME && true
FROM one AS two
ENTRYPOINT ["not", 'json']
FROM two
CMD ["unicode é", "quote \" and \\ back", "tab\t"]
