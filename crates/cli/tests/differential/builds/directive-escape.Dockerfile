# escape=`
FROM scratch
COPY src `
  C:\files\
ENV A="a`b" B=`$NOT C=\d
LABEL x=a` b
