#!/usr/bin/perl
# Answers every HTTP request with hello: answer.pl PORT
use Socket;
socket(my $s, PF_INET, SOCK_STREAM, 0);
setsockopt($s, SOL_SOCKET, SO_REUSEADDR, 1);
bind($s, sockaddr_in($ARGV[0], INADDR_ANY)) or die;
listen($s, 50);
while (accept(my $c, $s)) {
    while (<$c>) { last if /^\r?$/ }
    print $c "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n";
    close $c;
}
