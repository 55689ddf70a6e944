"""The prompt gate's words for people: who is one, who are several, and which pictures show one.

Data in lower case and in the singular. A hyphen reads as a space, # as any number.
"""

from fairgen.gate.phrases import word_list

# Whom these call the same as another word does: "a farmer ... the person".
NEUTRAL = word_list(
    """
    adult, anybody, anyone, figure, human, human being, individual, person, protagonist, somebody,
    someone
    """
)
# Words of a gender, an age or a rank, whatever else the person is called.
GENERIC = word_list(
    """
    bloke, boy, child, dr, dude, elder, elderly, fellow, female, gal, gent, gentleman, girl, guy,
    kid, lad, lady, lass, madam, madame, mademoiselle, male, man, miss, monsieur, mr, mrs, ms, mx,
    prof, senior, senor, senora, sir, teen, teenager, toddler, woman, youngster, youth
    """
)
# Kin, company and parts that people play.
ROLES = word_list(
    """
    acquaintance, activist, admirer, adolescent, adventurer, adversary, amputee, anarchist,
    ancestor, angler, applicant, aristocrat, ascetic, attacker, attendee, aunt, auntie, bachelor,
    backpacker, bandit, bather, beachgoer, beauty queen, beggar, best man, birthday boy, birthday
    girl, bookworm, boss, boyfriend, bride, bridesmaid, brother, brother-in-law, buccaneer, buddy,
    burglar, businessperson, bystander, cadet, caller, camper, canoeist, captive, captor, castaway,
    cavalryman, celebrity, centenarian, champion, churchgoer, citizen, classmate, client, clubber,
    co-founder, co-worker, colleague, commuter, companion, competitor, comrade, concertgoer,
    concubine, conscript, conspirator, contender, contestant, convict, cosplayer, countryman,
    courtesan, courtier, cousin, coworker, creator, crewman, crewmate, criminal, cultist, customer,
    cyclist, dad, daddy, dame, daredevil, daughter, daughter-in-law, debutante, defendant, delegate,
    descendant, deserter, detainee, devotee, disciple, donor, drag queen, dreamer, drifter,
    employee, enemy, evacuee, expat, explorer, father, father-in-law, fiance, fiancee, finalist,
    firstborn, flatmate, foreigner, founder, freediver, freedom fighter, freshman, friend, fugitive,
    gamer, gangster, genius, girlfriend, goddess, godfather, godmother, godparent, goth girl,
    graduate, grandad, grandchild, granddad, granddaughter, grandfather, grandma, grandmother,
    grandnephew, grandniece, grandpa, grandparent, grandson, granny, great aunt, great grandfather,
    great grandmother, great uncle, groom, groomsman, groupie, guerrilla fighter, guest, guru, half
    brother, half sister, heiress, henchman, hermit, hero, heroine, high schooler, hiker, hippie,
    hipster, hitchhiker, hitman, holidaymaker, homecoming queen, homeowner, homesteader, horse
    rider, hostage, housemate, housewife, husband, immigrant, informant, inhabitant, inmate, intern,
    interviewee, interviewer, intruder, islander, jester, jogger, kayaker, kindergartener,
    kindergartner, kitesurfer, knight, latecomer, listener, lodger, loner, lookout, lover, maid of
    honor, maiden, martyr, matriarch, matron, medalist, mentor, messenger, middle schooler, migrant,
    mobster, moderator, mom, mommy, monarchist, monk, mother, mother-in-law, motorcyclist, motorist,
    mugger, mum, musketeer, mystic, nana, neighbor, neighbour, nephew, nerd, newborn, newcomer,
    newlywed, niece, nobleman, noblewoman, nomad, nonagenarian, nun, observer, octogenarian,
    onlooker, opponent, orphan, outlaw, owner, paddler, pal, panelist, panhandler, parachutist,
    paraglider, paratrooper, parent, parishioner, participant, partner, partygoer, passenger,
    passer-by, passerby, patient, patriarch, patriot, patron, peasant, pedestrian, penitent,
    pensioner, picnicker, pilgrim, pioneer, pirate, plaintiff, player, poacher, postgraduate,
    prankster, prince, princess, prisoner, prodigy, prom queen, prophet, protester, protestor,
    prowler, punk rocker, pupil, raver, rebel, recruit, redhead, refugee, relative, resident,
    retiree, revolutionary, rider, rival, robber, rocker, rollerblader, roommate, runner, sage,
    scholar, schoolboy, schoolchild, schoolgirl, schoolkid, scout, seer, senior citizen,
    septuagenarian, serf, settler, shipmate, shoplifter, shopper, sibling, sidekick, sightseer,
    sister, sister-in-law, skateboarder, skater, skier, slave, smoker, smuggler, snorkeler,
    snowboarder, socialite, son, son-in-law, sophomore, spectator, spinster, spouse, spy, squatter,
    squire, stepbrother, stepdaughter, stepfather, stepmother, stepsister, stepson, stowaway,
    stranger, student, suffragette, sunbather, superhero, superheroine, supervillain, survivor,
    suspect, swashbuckler, sweetheart, swimmer, teammate, tenant, thief, thinker, thug, tourist,
    trainer, traitor, traveler, traveller, trekker, trespasser, tribesman, tribeswoman, trooper,
    tyrant, uncle, undergrad, undergraduate, unicyclist, vacationer, vagabond, vagrant, victim,
    villager, villain, visitor, volunteer, wanderer, warlock, warrior, wedding guest, whistleblower,
    widow, widower, wife, winner, witch, witness, wizard, worshiper, worshipper, yogi, zealot
    """
)
# What people do for a living or with devotion; "school teacher" also matches as "teacher".
OCCUPATIONS = word_list(
    """
    accordionist, accountant, acrobat, actor, actress, actuary, acupuncturist, administrator,
    adviser, advisor, agent, agronomist, aide, air hostess, air traffic controller, airman,
    alchemist, ambulance driver, anaesthesiologist, anaesthetist, analyst, anchorman, anchorwoman,
    anesthesiologist, animator, announcer, anthropologist, antique dealer, apothecary, appraiser,
    apprentice, archaeologist, archeologist, archer, architect, archivist, art dealer, artisan,
    artist, assassin, assistant, astrologer, astronaut, astronomer, astrophysicist, athlete,
    attendant, attorney, attorney at law, au pair, auctioneer, audiologist, auditor, author,
    aviator, aviatrix, babysitter, baggage handler, bagpiper, bailiff, baker, ballerina, balloonist,
    banker, barber, bard, bargeman, barista, baritone, barmaid, barman, barrister, bartender, basket
    maker, basket weaver, bassist, bassoonist, batsman, beader, beatboxer, beautician, beekeeper,
    bellboy, bellhop, biathlete, biker, biochemist, biologist, biotechnologist, bird watcher,
    birdwatcher, blacksmith, blogger, boat builder, boatman, boatswain, bodybuilder, bodyguard,
    bookbinder, bookkeeper, bookseller, bosun, botanist, bouncer, bowler, boxer, breakdancer,
    breeder, brewer, bricklayer, broadcaster, broker, builder, bullfighter, bureaucrat, bus
    conductor, bus driver, busboy, businessman, businesswoman, busker, butcher, butler, buyer, cab
    driver, cabbie, cabinet maker, cabinetmaker, caddie, calligrapher, camera operator, cameraman,
    camerawoman, candle maker, candlemaker, cantor, cardiologist, caregiver, caretaker,
    caricaturist, carpenter, cartographer, cartoonist, cashier, cat lady, caterer, cellist,
    ceramicist, chambermaid, chaplain, charioteer, chauffeur, cheerleader, cheesemaker,
    cheesemonger, chef, chemist, chess grandmaster, chess player, chimney sweep, chiropodist,
    chiropractor, chocolatier, choreographer, cinematographer, civil servant, clarinetist, cleaner,
    clergyman, cleric, clerk, climber, clockmaker, clown, coach, coast guard officer, coastguard,
    cobbler, coder, columnist, comedian, comedienne, commentator, composer, computer programmer,
    computer scientist, concierge, conductor, confectioner, congressman, congresswoman, conservator,
    constable, consultant, contortionist, contractor, contralto, cook, cop, copilot, coppersmith,
    copywriter, coroner, correspondent, cosmetologist, cosmonaut, costume designer, councillor,
    councilman, councilwoman, counsellor, counselor, courier, cowboy, cowgirl, cowhand, craftsman,
    craftsperson, craftswoman, cricket player, cricketer, criminologist, critic, crocheter, crofter,
    crooner, croupier, cryptographer, curator, custodian, dairymaid, dancer, data entry keyer, day
    laborer, deaconess, dealer, dean, decathlete, deckhand, decorator, deejay, demographer, dentist,
    dermatologist, designer, detective, developer, dictator, dietician, dietitian, diplomat,
    director, discus thrower, dispatcher, distiller, diver, dj, docker, dockhand, dockworker,
    doctor, dog groomer, dog handler, dog sitter, dog trainer, dog walker, doorman, doula,
    draftsman, dragon dancer, dramatist, draper, draughtsman, dressmaker, driver, drone operator,
    drone pilot, drover, druid, drummer, ecologist, economist, editor, educator, electrician,
    embalmer, embroiderer, embryologist, emcee, endocrinologist, engine driver, engineer, engraver,
    entertainer, entomologist, entrepreneur, epidemiologist, equestrian, ethnologist, event planner,
    exorcist, exterminator, factory worker, falconer, farm worker, farmer, farmhand, farrier,
    fashion designer, fashion model, fencer, ferryman, fiddler, fighter, fighter pilot, figure
    skater, filmmaker, financial adviser, financial advisor, firefighter, fireman, firewoman,
    fisher, fisherman, fisherwoman, fishmonger, fishwife, flautist, florist, flower girl, flower
    seller, flutist, footballer, footman, forager, foreman, forest ranger, forester, foundryman,
    freelancer, friar, fruit seller, furniture maker, gambler, gamekeeper, garbage collector,
    gardener, gastroenterologist, gaucho, geisha, general practitioner, geneticist, geographer,
    geologist, glaciologist, gladiator, glass blower, glassblower, glazier, gleaner, glovemaker,
    goalie, goalkeeper, goatherd, gold digger, gold miner, goldsmith, golfer, gondolier, governess,
    grandmaster, gravedigger, greengrocer, grocer, groomer, ground handler, groundskeeper, guard,
    guide, guitar player, guitarist, gunslinger, gunsmith, gymnast, gynaecologist, gynecologist,
    hacker, hair stylist, hairdresser, hairstylist, handyman, harmonicist, harpist, headhunter,
    headmaster, headmistress, healer, helmsman, hematologist, herbalist, herdsman, herpetologist,
    historian, horse breeder, horse trainer, horseman, horsewoman, horticulturist, host, hostess,
    hotel clerk, hotelier, house cleaner, house painter, housekeeper, hunter, huntress, hurdler,
    hydrologist, hygienist, hypnotherapist, hypnotist, ice cream seller, ice skater, illusionist,
    illustrator, imam, immunologist, importer, infantryman, influencer, innkeeper, inspector,
    installer, instructor, instrument maker, interior decorator, interior designer, interpreter,
    inventor, investigator, investor, ironworker, jailer, janitor, javelin thrower, jeweler,
    jeweller, jockey, journalist, judoka, juggler, juror, keyboardist, keynote speaker, kickboxer,
    knife thrower, knitter, lab assistant, lab technician, laborer, labourer, lacemaker, landlady,
    landlord, landscaper, laundress, lawmaker, lawyer, leader, leatherworker, lecturer, legislator,
    librarian, life coach, lifeguard, lighthouse keeper, linebacker, lineman, linguist, lion dancer,
    lion tamer, lobbyist, locksmith, logger, logistician, longshoreman, luchador, lumberjack,
    lumberjill, lutenist, luthier, machinist, mage, magician, magistrate, maid, mail carrier,
    mailman, makeup artist, manager, manicurist, mariachi, marine biologist, marksman, masseur,
    masseuse, matador, mathematician, mechanic, medic, mercenary, merchant, metalworker,
    meteorologist, microbiologist, midfielder, midwife, milkmaid, milkman, miller, milliner, mime,
    mime artist, miner, minstrel, missionary, mixologist, mortician, mountain climber, mountain
    guide, mountaineer, mover, movie star, muezzin, muralist, museum guide, musician, mycologist,
    nail technician, nanny, narrator, naturalist, navigator, necromancer, nephrologist, neurologist,
    neuroscientist, neurosurgeon, news anchor, newsagent, newscaster, newsreader, ninja, notary,
    novelist, nurse, nurse anesthetist, nurse practitioner, nutritionist, oboist, obstetrician,
    oceanographer, office worker, officer, officiant, oil worker, oncologist, operator,
    ophthalmologist, optician, optometrist, organist, ornithologist, orthodontist, orthopedist,
    oyster shucker, oysterman, paediatrician, painter, paladin, palaeontologist, paleontologist,
    palm reader, papermaker, paralegal, paramedic, park ranger, pastor, pathologist, patissier,
    peddler, pediatrician, percussionist, performer, perfumer, pharmacist, pharmacologist,
    philanthropist, philosopher, phlebotomist, photographer, photojournalist, physician, physicist,
    physiologist, physiotherapist, pianist, piano player, piano tuner, pickpocket, pilot, pitmaster,
    plane spotter, plasterer, playwright, ploughman, plumber, podcaster, podiatrist, poet, pole
    vaulter, police constable, police detective, police inspector, police officer, policeman,
    policewoman, politician, pollster, pop star, porter, postman, postwoman, potter, powerlifter,
    preacher, presenter, priest, priestess, primatologist, principal, printmaker, prison guard,
    private eye, prizefighter, producer, programmer, projectionist, proofreader, prosecutor,
    prospector, psychiatrist, psychic, psychologist, psychotherapist, public speaker, publican,
    publicist, publisher, pulmonologist, pundit, puppeteer, purser, quarryman, quarterback, quilter,
    rabbi, race car driver, racer, radio host, radiographer, radiologist, ranch hand, rancher,
    ranger, rapper, realtor, receptionist, recruiter, referee, repairman, reporter, representative,
    rescuer, researcher, restaurateur, retailer, rheumatologist, ringmaster, roboticist, rock
    climber, rock star, rocket scientist, roofer, ropemaker, roughneck, rower, sacristan, saddler,
    sailmaker, sailor, sales rep, salesclerk, salesman, salesperson, saleswoman, saxophonist, school
    principal, school teacher, schoolmaster, schoolteacher, scientist, screenwriter, scribe,
    scriptwriter, sculptor, sculptress, seafarer, seaman, seamstress, seismologist, seller, servant,
    serviceman, servicewoman, sexton, shaman, sharpshooter, shearer, sheep shearer, shepherd,
    shepherdess, sherpa, shipbuilder, shipwright, shoe shiner, shoemaker, shop assistant,
    shopkeeper, shot putter, showgirl, signalman, silversmith, singer, singer-songwriter, sitarist,
    skipper, skydiver, smallholder, sniper, sociologist, soldier, solicitor, sommelier, songwriter,
    soprano, sorcerer, sorceress, specialist, spelunker, spokesperson, sportscaster, sportsman,
    sportswoman, sprinter, stablehand, stagehand, stand-up comedian, statesman, stationer,
    statistician, steelworker, stenographer, stevedore, steward, stewardess, stockbroker, stocker,
    stoker, stonecutter, stonemason, storyteller, strategist, streamer, street artist, street
    cleaner, street musician, street performer, street sweeper, street vendor, stunt double,
    stuntman, stuntwoman, stylist, superintendent, supermodel, supervisor, supplier, surfer,
    surgeon, surveyor, sushi master, swineherd, swordmaker, swordsman, swordsmith, swordswoman,
    sysadmin, tailor, tanner, tattoo artist, tattooist, tax collector, taxidermist, tea master,
    teacher, technician, technologist, telemarketer, teller, tenor, thatcher, theologian, therapist,
    thresher, tightrope walker, tinsmith, tobacconist, toolmaker, town crier, toxicologist,
    toymaker, trader, train conductor, train driver, trainee, trampolinist, translator, trapper,
    trawlerman, tree surgeon, triathlete, trombonist, troubadour, truck driver, trucker, trumpeter,
    tutor, typist, umpire, undertaker, underwriter, upholsterer, urban planner, urologist, usher,
    valet, vaquero, vendor, ventriloquist, verger, vet, veteran, veterinarian, vicar, videographer,
    vigilante, vintner, violin maker, violinist, virologist, vlogger, vocalist, volcanologist,
    waiter, waitress, warden, washerwoman, watchmaker, watchman, water carrier, weather forecaster,
    weatherman, weaver, webmaster, wedding planner, weightlifter, welder, whaler, wheelwright,
    wholesaler, wigmaker, window cleaner, window washer, windsurfer, winemaker, winger, woodcarver,
    woodcutter, woodworker, worker, wrestler, writer, xylophonist, yachtsman, youtuber, zookeeper,
    zoologist
    """
)
# Offices and ranks.
TITLES = word_list(
    """
    abbess, abbot, admiral, air marshal, ambassador, archbishop, archduchess, archduke, army
    general, army major, ayatollah, baron, baroness, baronet, bishop, brigadier, captain, catholic
    cardinal, ceo, cfo, chairman, chairperson, chairwoman, chancellor, chief executive, chief of
    police, chieftain, colonel, commander, commander-in-chief, commissioner, congressperson,
    corporal, countess, crown prince, crown princess, cto, deacon, deputy, duchess, duke, earl,
    emir, emperor, empress, field marshal, fire chief, first lady, four star general, governor,
    grand duchess, grand duke, head of government, head of state, head teacher, judge, king,
    lieutenant, lord, madame, maharaja, maharani, marchioness, marquess, marquis, mayor, mayoress,
    member of congress, member of parliament, minister, monarch, monsignor, nobel laureate, petty
    officer, police chief, pope, president, prime minister, professor, queen, rear admiral, regent,
    reverend, secretary, secretary general, senator, sergeant, sheik, sheikh, sheriff, sultan,
    sultana, supreme court justice, tribal chief, tsar, tsarina, vice admiral, vice chancellor, vice
    president, viceroy, viscount
    """
)
# Adjectives or things as well: people only where the phrase ends with them.
NOUNS_TOO = word_list(
    """
    adult, baby, blonde, brunette, elder, elderly, executive, expert, fellow, female, figure,
    general, homeless, human, individual, infant, male, marine, master, model, saint, senior, teen,
    year old, youth
    """
)
# More than one person, as are the plurals of the words above.
COLLECTIVES = word_list(
    """
    army, audience, band, boy band, brass band, bridal party, brotherhood, choir, clan, clergy,
    committee, congregation, couple, crew, crowd, duo, everybody, everyone, family, family of #,
    family of five, family of four, family of six, family of three, father daughter, father son,
    folks, gang, group, group of #, hospital staff, husband wife, jazz band, jury, kitchen staff,
    marching band, medical staff, militia, mob, mother daughter, mother son, newlyweds, orchestra,
    people, platoon, police, posse, quartet, quintet, regiment, rock band, sisterhood, squad, swat
    team, team, tribe, trio, triplets, troop, troupe, twins, workforce
    """
)
PRONOUNS = word_list("he, herself, him, himself, she")
# Pictures that show a person if nothing else is named as their subject.
PORTRAITS = word_list(
    """
    head shot, headshot, human face, id photo, id picture, mug shot, mugshot, passport photo,
    passport picture, portrait, profile photo, profile pic, profile picture, self portrait, selfie,
    yearbook photo, yearbook picture
    """
)
# People whose work is the animal or the material that is named before them.
KEEPERS = word_list(
    """
    artist, blower, breeder, burglar, caretaker, carver, catcher, charmer, collector, cutter,
    dancer, dealer, driver, enthusiast, expert, farmer, fisher, fisherman, groomer, handler, herder,
    hunter, jockey, keeper, lady, lover, maker, mason, miner, owner, racer, rescuer, rider,
    sculptor, seller, shearer, sitter, surgeon, tamer, thief, trainer, vet, walker, watcher,
    whisperer, worker, wrangler
    """
)
# Named as makers of a picture, they are not shown in it: "by a famous painter".
MAKERS = word_list(
    """
    animator, architect, artist, cartoonist, child, cinematographer, designer, director, filmmaker,
    illustrator, master, painter, photographer, printmaker, sculptor
    """
)
# Words that say of a person what another one says: an attribute that the first names, these name.
# A compound in -woman or -father need not be here, `lexicon.same` finds it.
SAME = {
    "woman": word_list(
        """
        abbess, archduchess, auntie, aviatrix, baroness, comedienne, concubine, countess,
        courtesan, cowgirl, dame, deaconess, debutante, diva, enchantress, fiancee, gal,
        geisha, governess, headmistress, heiress, hijab, huntress, lass, latina,
        lumberjill, madame, mademoiselle, maharani, maiden, marchioness, masseuse,
        matriarch, matron, mayoress, mistress, mommy, mum, nana, niqab, noblewoman, sculptress,
        senora, shepherdess, showgirl, sorceress, spinster, suffragette, sultana, tsarina,
        viscountess
        """
    ),
    "man": word_list(
        """
        abbot, archduke, bachelor, baron, baronet, bellboy, bloke, busboy, chap, czar, daddy, dude,
        earl, emir, fiance, friar, gent, goatee, grandad, granddad, headmaster, lad, maharaja,
        marquess, marquis, masseur, monsieur, patriarch, pope, schoolmaster, senor, sheik, sheikh,
        sideburn, sorcerer, sultan, tsar, viscount, warlock
        """
    ),
    "child": word_list(
        """
        infant, kindergartener, kindergartner, middle schooler, newborn, preteen, schoolchild,
        schoolkid, tween
        """
    ),
    "elderly": word_list(
        """
        centenarian, emerita, emeritus, grandad, granddad, nana, nonagenarian, octogenarian,
        old timer, oldster, retiree, senior citizen, septuagenarian
        """
    ),
}
