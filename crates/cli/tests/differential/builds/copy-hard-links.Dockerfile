FROM scratch
COPY hard /hard
COPY hard/b /alone
