#!/usr/bin/perl
# Says how many bytes came, when the sender has ended: serve.pl ADDRESS PORT
use Socket;
my ($address, $port) = @ARGV;
socket(my $s, PF_INET, SOCK_STREAM, 0);
setsockopt($s, SOL_SOCKET, SO_REUSEADDR, 1);
bind($s, sockaddr_in($port, inet_aton($address))) or die;
listen($s, 50);
$SIG{CHLD} = "IGNORE";
while (accept(my $c, $s)) {
    next if fork;
    local $/;
    my $all = <$c>;
    print $c "got " . length($all) . " bytes on $port\n";
    close $c;
    exit;
}
