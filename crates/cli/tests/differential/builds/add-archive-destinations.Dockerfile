FROM scratch
ADD archives/tree.tar /no-slash
ADD archives/named.txt /by-content/
ADD archives/tree.tar archives/tree.tgz config.yaml /several/
ADD archives/t*.tar /wild/
